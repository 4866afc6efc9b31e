"""What each page of the playground asks for, one file each: ``routes(playground)``."""
