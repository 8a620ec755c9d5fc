"""The name of a method -> its formulas: forget objectives (`forget`), retain regularizers (`retain`) and settings.

Where the paper (arXiv:2410.08109) and its published code differ, both variants are settings:

| setting | paper | published code | default here |
|---|---|---|---|
| `me.average` | `tokens` | `padded`: over all positions of rows padded to 500 tokens, padding included | `tokens` |
| `me.direction` | `model_to_uniform`, KL(P, U) | `uniform_to_model`, KL(U, P) | `uniform_to_model` |
| `kl.average` | `tokens` | `padded` | `tokens` |
| `kl.positions` | `answer` | `all`, including padding | `answer` |
| `train.average_over` | `batch` | `micro-batch`: averages of 4 rows are averaged again | `batch` |
| `train.pairing` | retain partners are sampled | `published`: fixed for all epochs and seeds | `resampled` |
"""
