"""Hundreds of small studies through one service, with failures: what is left running afterwards?"""
