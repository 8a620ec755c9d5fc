"""The parts of `gpu_acceptance.py`: what is measured on a GPU, and the goals."""
