"""LLaMo: a frozen language model that speaks motion as well, token by token (arXiv 2602.12370)."""
