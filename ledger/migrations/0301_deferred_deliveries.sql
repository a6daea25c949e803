-- Deliveries that take money back were kept until there was a settlement. There is one now: they are due.
update inbox set state = 'pending', reason = null where state = 'deferred';
