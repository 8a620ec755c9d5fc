"""Commands that look at what came out: evaluate, score, report, leaderboard, downstream, chat, push."""
