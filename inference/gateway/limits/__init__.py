"""Limits in time: requests and tokens per minute, tokens per day and month, money per month, requests at once.

One Redis script decides over all of a request's gates at once and takes what it will need; a second gives back what it did
not. Redis' own clock counts. Where Redis is away, each worker decides over its share alone (`local`).
"""
