//! iPXE scripts: the writer that knows the quoting.
