"""Files to frames: which frames a film has, when each is shown, clips of them."""
