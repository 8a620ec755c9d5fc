"""Models: find, load, quantize, adapt and save them; and the memory that training needs."""
