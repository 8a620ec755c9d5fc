"""Records and scores -> tables in the terminal, tables for papers, and one page. No torch."""
