"""One search: queries, filters, hits, the cut-off, copies and explanations over any gallery."""
