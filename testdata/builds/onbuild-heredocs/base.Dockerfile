ARG REGISTRY
FROM $REGISTRY/small:1
ENV PLACE=base
ONBUILD COPY <<END /copied
at $PLACE
END
ONBUILD COPY <<"END" /copied-raw
at $PLACE
END
ONBUILD RUN <<-END
	#!/bin/sh
	echo "ran at $PLACE by $0" > /ran
	END
ONBUILD RUN cat <<ONE > /one && cat <<TWO > /two
$PLACE
ONE
2
TWO
