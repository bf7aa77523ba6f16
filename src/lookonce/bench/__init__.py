"""Measure the speed of a model on this machine, in all engines that can run it.

```
   files.py       one model -> the files that the contenders read
   contenders.py  table of contenders, each opened as its developers recommend
   worker.py      a separate process for each contender, with its own memory and threads
   measure.py     all contenders in turn, round after round, compared within each round
   table.py       text, JSON and a plot
   candidates.py  engines and precisions to try on this CPU, for tune.py
   tune.py        the fastest way to run a model here without loss of accuracy
   networks.py    the networks that can be trained, and the time that each takes here
```
"""
