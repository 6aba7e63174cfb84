//! TFTP: what a name means, and one transfer as an automaton.
