"""Commands that use a trained model or its records: evaluate, score, report, leaderboard, downstream, chat, push."""
