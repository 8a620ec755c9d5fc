"""The name of a method -> its formulas: forget objectives (`forget`), retain regularizers (`retain`) and settings.

Where the paper (arXiv:2410.08109) and its published code differ, both are options:

| what | paper | published code | default here |
|---|---|---|---|
| ME's average | `tokens` | `padded`: over all positions of rows padded to 500 | `tokens` |
| ME's direction | `model_to_uniform`, KL(P, U) | `uniform_to_model`, KL(U, P) | `uniform_to_model` |
| KL's positions | `answer` | `all`, pad tokens included | `answer` |
| retain partners | sampled | fixed for all epochs | resampled (`train.pairing`) |

The published sum of a padded average also has the terms of the pad tokens, which no packed batch has.
"""
