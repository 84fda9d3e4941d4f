"""Pages that need no network: what reports, comparisons and sweeps share of templates, figures and tables."""
