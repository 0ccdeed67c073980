"""One run of notices, a file per stage.

``run`` leads through them: ``snapshot`` reads, ``due`` finds thresholds, ``decide``, ``limits``
and ``holds`` decide what is sent, ``addressees`` and ``recipients`` to whom, ``resolve`` what is over,
``also_open`` what a message repeats, ``compose``, ``announcement`` and ``staff`` write messages,
and ``record`` stores all of it in one transaction. All but ``run``, ``snapshot``, ``alarms``,
``send_address`` and the recording stages are pure.
"""
