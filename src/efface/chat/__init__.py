"""A finished run -> a chat that shows the answers before and after unlearning side by side."""
