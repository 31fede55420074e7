"""The retraining loop: choose sizings that an agent found on the surrogate, label them in ngspice, learn, and check.

    log.py      what waits for a label in a sample log, and what has one     search.py   an agent of the loop's own
    choose.py   which sizings ngspice labels                                 label.py    the labels, and what they say
    rows.py     what is learnt: old rows and new ones                        learn.py    fine-tuning
    recalibrate.py   probabilities and intervals of the new weights          gate.py     is it better, beyond chance?
    loop.py     rounds, and their state on disk                              card.py     the model card of a run
    command.py  `zsgym retrain`

Nothing is imported here: the command line must start fast.
"""
