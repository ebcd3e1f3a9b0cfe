"""Models as torch modules. A serving CPU replica imports none of them."""
