"""What apps on phones send, as sample batches: one module for each app, and what they share.

``read`` of each module is a pure function from one message to ``PhoneMessage``; ``Assembler`` turns
those of one phone into batches, ``Checks`` says in words what is wrong. None of it reads a clock or a socket.
"""
