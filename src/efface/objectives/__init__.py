"""The name of a method -> its formulas: forget objectives (`forget`), retain regularizers (`retain`) and settings.

Where the paper (arXiv:2410.08109) and its published code differ, both variants are settings:

| setting | paper | published code | default here |
|---|---|---|---|
| `me.average` | `tokens` | `padded`: over all positions of rows padded to 500 tokens | `tokens` |
| `me.direction` | `model_to_uniform`, KL(P, U) | `uniform_to_model`, KL(U, P) | `uniform_to_model` |
| `kl.positions` | `answer` | `all`, including padding | `answer` |
| `train.pairing` | retain partners are sampled | fixed for all epochs | resampled |

The published padded average also sums over the padding itself, which a packed batch does not contain.
"""
