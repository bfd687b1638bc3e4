"""Looking at a data set: its statistics, contact sheets, a page to browse it."""
