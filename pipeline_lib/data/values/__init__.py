"""What a value is: read as its column declares, written one way, with its time zone."""
