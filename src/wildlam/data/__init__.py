"""From folders of video to batches: decoding (``video``), indexing (``manifest``) and sampling clips (``clips``)."""
