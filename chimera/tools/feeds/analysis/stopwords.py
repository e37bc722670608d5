"""Words that are never a topic: the function words of a few large languages, and the habits of feeds.

Everything else that is too common to mean something is found in the feed itself, by how many posts have it.
"""

_WORDS = """
a about after again all also am an and any are as at be because been before being but by can could did do does doing
don't down during each few for from further get got had has have having he her here hers him his how i if in into is
isn't it it's its itself just let like me more most my new no nor not now of off on once one only or other our ours
out over own people said same say says she should so some such than that that's the their them then there these they
this those through to today too under until up us use used using very via was we were what when where which while
who whom why will with would yes yet you your yours without two three first last i'm can't you're
rt amp http https www com lol
aber als am an auch auf aus bei bin bis das dass dem den der des die doch ein eine einem einen einer es für hat ich
im ist ja mit nach nicht noch nur oder sein sich sie sind so um und vom von vor war was wie wir zu zum zur
au aux avec ce ces cette dans de des du elle en est et eu il ils je la le les leur lui mais même ne nous on ou où
par pas pour qu que qui sa se ses son sont sur ta te tes tu un une vous
al algo como con de del desde donde el ella en entre era es esa ese esta este fue ha hay la las le les lo los más me
mi mucho muy nada no nos o para pero por porque que se si sin sobre su sus también te tu un una uno y ya
che chi ci con da dal della di e gli ha i il in la le lo ma mi nel non per più se si sono su tra un una uno
ao aos com da das do dos e em essa este eu foi isso já mais mas na nas nos não os ou para pela pelo por quem sem seu
são também um uma você
aan bij dat de die dit een en het hij ik in is je met naar niet nog of om ook op te van voor wat we zij zijn
"""

STOP_WORDS = frozenset(_WORDS.split())
"""In lower case, of all languages together."""
