"""A second implementation of signature acceptance, written from ``docs/acceptance.md``.

It reads verdict documents and says, from policy, trusted root, evidence, subject and time
alone, which evidence is accepted. It shares no code with the program that wrote them.
"""
