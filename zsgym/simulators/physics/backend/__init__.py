"""The physics backend behind the `Simulator` contract: circuits into the solver's arrays, testbenches through it.

`sizes` turns sizings into values, `bench` runs a testbench as data on a batch of cases, `simulator` judges and answers.
Nothing here is compiled, so that a change here does not make anybody wait for the equations.
"""
