"""Reports: what people read on a terminal or in a log (`terminal`), and what CI reads (`junit`)."""
