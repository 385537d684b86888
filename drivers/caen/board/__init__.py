"""What is served of one board, or of the crate itself, and how it is read.

section       the whole: reads the batches, and knows whether the board is there
batch         what one bulk call reads
confirmation  currents that wait until their range has been read behind them
values        what was read as readings, and which values are void
points        the board's items and the points made of them
metadata      units and limits, and which of them have to be asked for again
arrays        what all channels of a board say of one parameter, as one waveform
relative      alarms of measured values relative to what their channel is set to
eventlog      what is logged of a board, once for many channels
"""
