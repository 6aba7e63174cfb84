//! Floor 6: commands, exit codes, text for people.
