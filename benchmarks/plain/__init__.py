"""Plain implementations that the library is measured against: what a careful reader of the paper would write first."""
