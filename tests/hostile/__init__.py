"""Files made to do harm: tables of name -> maker. A maker writes into a folder and says what is to be opened."""
