"""Commands that use a trained model or a run's folder.

Scores: evaluate, score, report, leaderboard, downstream; use: chat, push; integrity: verify, purge, record, reproduce.
"""
