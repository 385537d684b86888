"""rackioc measured beside other Channel Access servers on one machine; ``python -m bench`` lists the commands."""
