"""Where runs execute: one protocol, one module for each place."""
