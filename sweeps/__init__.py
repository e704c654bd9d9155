"""Which configuration is best, and how sure are we?"""
