//! What a machine is to boot, and by which rule.
