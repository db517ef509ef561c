# A worker that says who it is, writes numbered lines alternately to its
# standard output and error, and then stays.
echo "I am $SUPERVISOR_PROCESS_NAME of $SUPERVISOR_GROUP_NAME, worker $WORKER, $LABEL, at $SITE: $MOTTO"
i=0
while [ $i -lt 10000 ]; do
	i=$((i + 1)); echo "line $i"
	i=$((i + 1)); echo "line $i" >&2
done
echo "worker $1 is done"
exec sleep 100000
