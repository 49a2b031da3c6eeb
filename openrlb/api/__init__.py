"""One module for each verb: typed result, prints nothing; what notebooks call."""
