"""A model in training, in one process or distributed over several: replicated (DDP) or sharded (FSDP2, ZeRO-3)."""
