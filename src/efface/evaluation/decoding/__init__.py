"""Questions -> token ids of outputs, by greedy decoding, by sampling, or by the paged decoder of transformers."""
