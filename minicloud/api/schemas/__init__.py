"""Bodies of requests, and views of replies with their conversions to older microversions."""
