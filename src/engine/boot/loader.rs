//! Which loader a class of firmware gets: a table with one row each.
