//! What booting machines fetch: scripts, loaders, kernels, roots.
