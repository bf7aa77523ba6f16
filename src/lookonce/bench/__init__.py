"""Speed of a model on this machine, compared with the other engines that could run it.

```
   files.py       one model -> the forms that each contender reads
   contenders.py  one table of contenders, each opened as its makers recommend
   worker.py      a separate process for each contender, with its own memory and threads
   measure.py     all contenders in turn, round after round; ratios within a round
   table.py       text, JSON and a plot
   networks.py    not engines: the networks that can be trained, and the time that each takes here
```
"""
