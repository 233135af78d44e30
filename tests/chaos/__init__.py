"""Runs of E5 on a real SLURM, disturbed at random: what is lost, done twice or torn afterwards?"""
