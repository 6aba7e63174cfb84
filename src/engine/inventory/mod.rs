//! Documents to changes and back: import and export.
