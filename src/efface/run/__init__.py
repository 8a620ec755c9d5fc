"""The settings of a run -> its folder: records before, training, records after, scores; resumable at any stage."""
