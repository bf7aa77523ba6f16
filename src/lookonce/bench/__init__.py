"""Speed of a model on this machine, compared with the other engines that could run it.

```
   files.py       one model -> the forms that each contender reads
   contenders.py  one table of contenders, each opened the way its makers advise
   worker.py      a process of its own for each contender: memory and threads are its own, and stay so
   measure.py     all contenders in turn, round after round; ratios within a round
   table.py       text, JSON and a plot
   networks.py    instead of engines: the networks that can be trained, and what each costs here
```
"""
